internal import Logging

extension SpoolStore {
    /// An event that was chosen for a batch: where it is, and itself when that is memory.
    struct Pick {
        let place: SpoolPlace
        let event: SpooledEvent?
        /// The segment's file, and the record's bytes in it.
        var path = ""
        var bytes = 0..<0
        var isBacklog = false
    }

    /// Chooses events and keeps them from being dropped or chosen again.
    mutating func take(_ request: SpoolRequest) -> [Pick] {
        var picks: [Pick] = []
        var bytes = 0
        func fits(_ byteCount: Int) -> Bool {
            bytes += byteCount + 1
            return picks.isEmpty
                || picks.count < request.countMax && bytes <= request.bytesMax
        }
        for index in memory.indices where !memory[index].isTaken {
            let event = memory[index].event
            guard fits(event.json.count) else { return picks }
            memory[index].isTaken = true
            picks.append(
                Pick(place: .memory(token: memory[index].token), event: event))
        }
        func pick(_ segment: Int, _ index: Int, isBacklog: Bool) -> Bool {
            let entry = segments[segment].entries[index]
            guard fits(Int(entry.byteCount) - SpoolRecord.fixedByteCount) else { return false }
            segments[segment].set(.taken, index)
            picks.append(self.pick(index, of: segments[segment], isBacklog: isBacklog))
            return true
        }
        for segment in segments.indices where segments[segment].endPosition > request.freshFrom {
            guard segments[segment].waitingCount > 0 else { continue }
            for index in freshIndices(of: segment, from: request.freshFrom)
            where segments[segment].standings[index] == .waiting {
                guard pick(segment, index, isBacklog: false) else { return picks }
            }
        }
        var left = request.backlogMax
        func pickBacklog(_ order: some Sequence<Int>, _ indices: (Int) -> some Sequence<Int>) {
            for segment in order where segments[segment].waitingCount > 0 {
                for index in indices(segment)
                where segments[segment].standings[index] == .waiting {
                    guard left > 0, pick(segment, index, isBacklog: true) else { return }
                    left -= 1
                }
            }
        }
        let old = segments.indices.prefix { segments[$0].firstPosition < request.freshFrom }
        switch request.order {
        case .oldestFirst:
            pickBacklog(old) { 0..<freshIndices(of: $0, from: request.freshFrom).lowerBound }
        case .newestFirst:
            pickBacklog(old.reversed()) {
                (0..<freshIndices(of: $0, from: request.freshFrom).lowerBound).reversed()
            }
        }
        return picks
    }

    func pick(_ index: Int, of segment: SpoolSegment, isBacklog: Bool) -> Pick {
        Pick(
            place: .segment(id: segment.id, index: index), event: nil,
            path: eventsPath(segment.id), bytes: segment.entries[index].bytes,
            isBacklog: isBacklog)
    }

    /// Notes durably against a kill which events are about to be posted.
    func noteUnderWay(_ events: [SpooledEvent]) {
        guard folder != nil else { return }
        let text = Array(PostingNote(events).text.utf8)
        // Without the note, they may be dropped after a kill although a server has them.
        try? SpoolFile.overwrite(postingPath, with: text)
    }

    private func freshIndices(of segment: Int, from position: UInt64) -> Range<Int> {
        let count = segments[segment].entries.count
        let first = segments[segment].firstPosition
        let begin = position > first ? Int(clamping: position - first) : 0
        return min(begin, count)..<count
    }

    /// Gives taken events back, to be chosen again.
    mutating func putBack(_ places: some Sequence<SpoolPlace>) {
        for place in places {
            switch place {
            case .memory(let token):
                if let index = memory.firstIndex(where: { $0.token == token }) {
                    memory[index].isTaken = false
                }
            case .segment(let id, let index):
                if let segment = segmentIndex(of: id) { segments[segment].set(.waiting, index) }
            }
        }
    }

    /// Removes taken events: they are delivered, or noted in the ledger.
    mutating func remove(_ places: some Sequence<SpoolPlace>) {
        var bySegment: [UInt64: [Int]] = [:]
        var tokens: Set<UInt64> = []
        for place in places {
            switch place {
            case .memory(let token): tokens.insert(token)
            case .segment(let id, let index): bySegment[id, default: []].append(index)
            }
        }
        if !tokens.isEmpty {
            for index in memory.indices.reversed() where tokens.contains(memory[index].token) {
                removeFromMemory(at: index)
            }
        }
        for (id, indices) in bySegment.sorted(by: { $0.key < $1.key }) {
            guard let segment = segmentIndex(of: id) else { continue }
            for index in indices { segments[segment].set(.gone, index) }
            // The file goes as a whole otherwise.
            let isGoing = segments[segment].isEmpty && !isActive(segment)
            if !isGoing { noteRemovals(indices.sorted(), in: segment) }
        }
        removeEmptySegments()
    }

    /// Notes taken events as lost and removes them.
    mutating func lose(_ places: [SpoolPlace], because reason: DropLedger.Reason) {
        guard !places.isEmpty else { return }
        for place in places {
            switch place {
            case .memory(let token):
                guard let event = memory.first(where: { $0.token == token })?.event else {
                    continue
                }
                note(event.number, of: event.session, because: reason)
            case .segment(let id, let index):
                guard let segment = segmentIndex(of: id) else { continue }
                let (session, number) = segments[segment].name(of: index)
                note(number, of: session, because: reason)
            }
        }
        // First noted, then removed: after a crash between the two they are not posted.
        writeLedger()
        remove(places)
    }

    private mutating func noteRemovals(_ indices: [Int], in segment: Int) {
        guard let nonce = segments[segment].nonce else { return }
        var stretches: [Range<Int>] = []
        for index in indices {
            let bytes = segments[segment].entries[index].bytes
            if let last = stretches.last, last.upperBound == bytes.lowerBound {
                stretches[stretches.count - 1] = last.lowerBound..<bytes.upperBound
            } else {
                stretches.append(bytes)
            }
        }
        let entries = stretches.flatMap { RemovalList.entry($0, nonce: nonce) }
        let count = segments[segment].removalCount
        do throws(FileProblem) {
            let list = try SpoolFile(
                removalsPath(segments[segment].id), emptied: count == nil)
            if count == nil { try list.write(RemovalList.head(nonce: nonce), at: 0) }
            let end = RemovalList.headByteCount + (count ?? 0) * RemovalList.entryByteCount
            try list.write(entries, at: end)
            segments[segment].removalCount = (count ?? 0) + stretches.count
        } catch {
            // Delivered events are posted again after a restart, and recognised.
            problems.append(
                Problem(
                    level: .debug, message: "it cannot be noted what was delivered",
                    metadata: ["reason": "\(error)"]))
        }
    }
}
