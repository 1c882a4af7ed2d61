package import Telemetry

/// Why a transfer failed, and in which stage.
package struct TransferFailure: Error, Sendable {
    package let stage: ErrorStage
    package let cause: HTTPFailure
}
