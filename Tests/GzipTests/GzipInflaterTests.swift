import Gzip
import Testing

@Suite struct GzipInflaterTests {
    @Test func `the library is there`() {
        #expect(GzipVersion.zlib.hasPrefix("1."))
    }
}
