import Fuzzing
import Glibc

/// Fuzzes everything that reads foreign bytes; `Scripts/fuzz` builds and starts it.
///
///     fuzzer run COUNT SEED PROGRESS    gives the inputs 0 to COUNT - 1 to their targets
///     fuzzer input SEED INDEX           writes one input to the standard output
///
/// PROGRESS is a file of 8 bytes that holds the index of the input being worked on, also after a crash.
@main
enum Fuzzer {
    /// An input that takes longer counts as an endless loop.
    static let secondsMax: UInt32 = 30
    /// Inputs between two settings of the alarm clock.
    static let inputsPerAlarm: UInt64 = 256

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let numbers = arguments.dropFirst().prefix(2).compactMap { UInt64($0) }
        if arguments.count == 4, arguments[0] == "run", numbers.count == 2 {
            run(count: numbers[0], seed: numbers[1], progressPath: arguments[3])
        } else if arguments.count == 3, arguments[0] == "input", numbers.count == 2 {
            let input = FuzzCorpus(seed: numbers[0]).input(numbers[1])
            write(input.bytes, to: STDOUT_FILENO)
        } else {
            fail("usage: fuzzer run COUNT SEED PROGRESS | fuzzer input SEED INDEX")
        }
    }

    private static func run(count: UInt64, seed: UInt64, progressPath: String) {
        let corpus = FuzzCorpus(seed: seed)
        let session = FuzzSession()
        let progress = mapped(progressPath)
        for index in 0..<count {
            if index % inputsPerAlarm == 0 { alarm(secondsMax) }
            progress.storeBytes(of: index, as: UInt64.self)
            do throws(FuzzFinding) {
                try session.run(corpus.input(index))
            } catch {
                fail("input \(index): \(error)")
            }
        }
        for target in FuzzTarget.allCases {
            print(
                "\(target.rawValue): \(session.given[target] ?? 0) inputs, "
                    + "\(session.accepted[target] ?? 0) of them accepted")
        }
    }

    /// The file's first 8 bytes as memory, which the kernel writes whatever becomes of this process.
    private static func mapped(_ path: String) -> UnsafeMutableRawPointer {
        let file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o644)
        guard file >= 0, ftruncate(file, 8) == 0,
            let memory = mmap(nil, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            memory != MAP_FAILED
        else { fail("cannot write \(path): \(String(cString: strerror(errno)))") }
        close(file)
        return memory
    }

    private static func fail(_ message: String) -> Never {
        write(Array((message + "\n").utf8), to: STDERR_FILENO)
        exit(1)
    }

    private static func write(_ bytes: [UInt8], to file: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard written > 0 else { return }
            rest.removeFirst(written)
        }
    }
}
