import Gzip
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// 1 GiB of zeros in about 1 MiB.
private let bomb: [UInt8] = {
    var bytes: [UInt8] = []
    guard let deflater = try? GzipDeflater(level: 9) else { return [] }
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    for _ in 0..<1024 {
        zeros.withUnsafeBytes { part in deflater.deflate(part) { bytes.append(contentsOf: $0) } }
    }
    deflater.finish { bytes.append(contentsOf: $0) }
    return bytes
}()

/// The most that a process may grow by while it inflates a bomb, bytes.
private let growthMax = 4 << 20

/// What became of the bomb, by a process of its own: tests beside these would grow it as well.
private struct Outcome {
    var code: GzipInflater.Failure.Code?
    var outputByteCount = 0
    /// How many bytes the process grew by meanwhile.
    var growth = 0

    init(outputByteCountMax: Int, ratioMax: Int) {
        let body = bomb
        let before = residentByteCount()
        let inflater = GzipInflater(outputByteCountMax: outputByteCountMax, ratioMax: ratioMax)
        body.withUnsafeBytes { bytes in
            do throws(GzipInflater.Failure) {
                try inflater.inflate(bytes) { outputByteCount += $0.count }
                try inflater.finish()
            } catch {
                code = error.code
            }
            growth = residentByteCount() - before
        }
    }
}

struct GzipBombTests {
    @Test func `a bomb is refused by its ratio`() async {
        await #expect(processExitsWith: .success) {
            #expect((900_000..<1_200_000).contains(bomb.count))
            let outcome = Outcome(outputByteCountMax: .max, ratioMax: 100)
            #expect(outcome.code == .ratioTooHigh)
            #expect(outcome.outputByteCount <= GzipInflater.ratioFreeByteCount)
            #expect(outcome.growth <= growthMax)
        }
    }

    @Test func `a bomb is refused by its output`() async {
        await #expect(processExitsWith: .success) {
            let outcome = Outcome(outputByteCountMax: 64 << 20, ratioMax: .max)
            #expect(outcome.code == .tooLarge)
            #expect(outcome.outputByteCount <= 64 << 20)
            #expect(outcome.growth <= growthMax)
        }
    }

    @Test func `a bomb that is let through takes no memory either`() async {
        await #expect(processExitsWith: .success) {
            let outcome = Outcome(outputByteCountMax: .max, ratioMax: .max)
            #expect(outcome.code == nil)
            #expect(outcome.outputByteCount == 1 << 30)
            #expect(outcome.growth <= growthMax)
        }
    }
}

/// The memory of this process that is in RAM, bytes.
private func residentByteCount() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 128)
    guard fgets(&buffer, Int32(buffer.count), file) != nil else { return 0 }
    let line = String(decoding: buffer.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fields = line.split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * sysconf(Int32(_SC_PAGESIZE))
}
