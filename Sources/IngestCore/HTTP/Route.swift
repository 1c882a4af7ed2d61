internal import EventParsing
internal import NIOHTTP1

/// What a path of the API leads to.
enum Route: String, CaseIterable {
    case events
    case heartbeats
    /// The server's clock, for whoever compares it with its own.
    case time
    case health
    case ready
    /// The description of the API.
    case openAPI = "openapi"
    /// No path of the API.
    case other

    /// The paths that lead to it, the usual one first.
    var paths: [String] {
        switch self {
        case .events: ["/events", "/api/v1/events"]
        case .heartbeats: ["/heartbeats", "/api/v1/heartbeats"]
        case .time: ["/api/v1/time"]
        case .health: ["/health"]
        case .ready: ["/ready"]
        case .openAPI: ["/openapi.json"]
        case .other: []
        }
    }

    private static let routes = allCases.flatMap { route in route.paths.map { ($0, route) } }

    /// The route of a request target, whose query does not matter.
    init(uri: String) {
        var path = uri.prefix { $0 != "?" }
        // The absolute form, which clients of a proxy use, must be understood (RFC 9112, section 3.2.2).
        if path.utf8.first != UInt8(ascii: "/"), let authority = path.firstRange(of: "://") {
            path = path[authority.upperBound...].drop { $0 != "/" }
        }
        self = Self.routes.first { $0.0 == path }?.1 ?? .other
    }

    /// The methods it answers.
    var methods: [HTTPMethod] {
        switch self {
        case .events, .heartbeats: [.POST]
        case .time, .health, .ready, .openAPI: [.GET, .HEAD]
        case .other: []
        }
    }

    /// Whether it answers only those who have proved who they are.
    var needsCaller: Bool {
        switch self {
        case .events, .heartbeats, .time: true
        case .health, .ready, .openAPI, .other: false
        }
    }
}

/// How a body's `Content-Type` says that it is to be read; nil when the type is none of ours.
func bodyForm(contentType: String?) -> EventParser.Form? {
    guard let contentType else { return .json }
    let type = contentType.prefix { $0 != ";" }.lowercased().trimming { $0 == " " || $0 == "\t" }
    switch type {
    case "application/json", "": return .json
    case "application/x-ndjson": return .lines
    default: return nil
    }
}

extension String {
    fileprivate func trimming(_ isTrimmed: (Character) -> Bool) -> Substring {
        var text = Substring(self)
        while let first = text.first, isTrimmed(first) { text.removeFirst() }
        while let last = text.last, isTrimmed(last) { text.removeLast() }
        return text
    }
}
