/// Elements in the order in which they were added; adding and removing cost the same at any length.
struct PacketQueue<Element: Sendable>: Sendable {
    private var elements: [Element?] = []
    private var start = 0

    var count: Int { elements.count - start }

    var first: Element? {
        start < elements.count ? elements[start] : nil
    }

    mutating func append(_ element: Element) {
        elements.append(element)
    }

    mutating func removeFirst() -> Element? {
        guard let element = first else { return nil }
        elements[start] = nil
        start += 1
        // Each element is moved once on average.
        if start * 2 > elements.count {
            elements.removeFirst(start)
            start = 0
        }
        return element
    }
}
