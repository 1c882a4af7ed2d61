import Telemetry
import Testing

@Test func `a UUID reads in either case and prints in lower case`() throws {
    let id = try #require(UniqueID("550E8400-e29b-41D4-A716-446655440000"))
    #expect(id == UniqueID(high: 0x550E_8400_E29B_41D4, low: 0xA716_4466_5544_0000))
    #expect(id.description == "550e8400-e29b-41d4-a716-446655440000")
}

@Test(arguments: [
    "", "550e8400-e29b-41d4-a716-44665544000", "550e8400-e29b-41d4-a716-4466554400000",
    "550e8400e29b41d4a716446655440000", "550e8400-e29b-41d4-a716_446655440000",
    "550e8400-e29b-41d4-a716-44665544000g", "{50e8400-e29b-41d4-a716-446655440000",
    "550e8400-e29b-41d4-a716-44665544000é",
])
func `other texts are not UUIDs`(text: String) {
    #expect(UniqueID(text) == nil)
}

@Test func `a random identifier is of version 4`() {
    let id = UniqueID(randomHigh: .max, randomLow: .max)
    #expect(id.description == "ffffffff-ffff-4fff-bfff-ffffffffffff")
    #expect(UniqueID(randomHigh: 0, randomLow: 0).description.dropFirst(14).first == "4")
}

@Test func `names are told apart by their bytes`() {
    let composed: Name = "caf\u{E9}"
    let decomposed: Name = "cafe\u{301}"
    #expect(composed.text == decomposed.text)
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed]).count == 2)
    #expect(decomposed < composed)
}
