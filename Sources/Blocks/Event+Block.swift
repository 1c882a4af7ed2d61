package import Telemetry

extension BlockBuilder {
    /// Adds an event in its value form; see ``append(_:)-(EventFields)``.
    package mutating func append(_ event: Event, receivedAtMilliseconds: Int64) -> Bool {
        let texts = [
            event.clientID, event.target, event.context.sourceIP, event.context.networkType,
            event.context.isp, event.context.region, event.context.resolver,
        ]
        var bytes: [UInt8] = []
        var ranges: [Range<Int>?] = []
        for text in texts {
            let start = bytes.count
            if let text { bytes.append(contentsOf: text.text.utf8) }
            ranges.append(text == nil ? nil : start..<bytes.count)
        }
        return unsafe bytes.withUnsafeBytes { buffer in
            func slice(_ index: Int) -> UnsafeRawBufferPointer? {
                unsafe ranges[index].map { unsafe UnsafeRawBufferPointer(rebasing: buffer[$0]) }
            }
            guard let client = unsafe slice(0), let target = unsafe slice(1) else { return false }
            var fields = unsafe EventFields(clientID: client, target: target)
            unsafe fields.id = event.id
            unsafe fields.measuredAtMilliseconds = event.measuredAtMilliseconds
            unsafe fields.receivedAtMilliseconds = receivedAtMilliseconds
            unsafe fields.session = event.sequence?.session
            unsafe fields.sequenceNumber = event.sequence?.number ?? 0
            unsafe fields.errorStage = event.errorStage
            for metric in Metric.allCases {
                if let value = event.metrics[metric] { unsafe fields.set(value, for: metric) }
            }
            unsafe fields.sourceIP = slice(2)
            unsafe fields.networkType = slice(3)
            unsafe fields.isp = slice(4)
            unsafe fields.region = slice(5)
            unsafe fields.resolver = slice(6)
            unsafe fields.asn = event.context.asn
            return unsafe append(fields)
        }
    }
}

extension BlockReader {
    /// The event with `index`, in its value form.
    package func event(_ index: Int) -> Event {
        let record = unsafe record(index)
        let origin = unsafe origin(record.origin)
        func name(_ index: UInt32?) -> Name? {
            index.map { unsafe Name(utf8: string($0)) }
        }
        var metrics = MetricSet()
        var position = record.firstValue
        for metric in Metric.allCases where record.mask & (1 << UInt16(metric.rawValue)) != 0 {
            metrics[metric] = unsafe value(position)
            position += 1
        }
        return unsafe Event(
            id: record.eventID, clientID: Name(utf8: string(origin.client)),
            target: Name(utf8: string(record.target)),
            measuredAtMilliseconds: record.measuredAtMilliseconds,
            context: NetworkContext(
                sourceIP: name(origin.sourceIP), networkType: name(origin.networkType),
                isp: name(origin.isp), asn: origin.asn, region: name(origin.region),
                resolver: name(origin.resolver)),
            metrics: metrics, errorStage: record.errorStage,
            sequence: origin.session.map {
                SessionSequence(session: $0, number: record.sequenceNumber)
            })
    }
}
