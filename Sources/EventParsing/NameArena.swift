/// Memory for the names that had to be normalised; what it returned is valid until ``reset()``.
@safe final class NameArena {
    private static let chunkByteCount = 16 << 10

    private var chunks: [UnsafeMutableRawBufferPointer] = unsafe []
    /// Bytes taken of the last chunk.
    private var used = 0

    deinit {
        while unsafe !chunks.isEmpty { unsafe chunks.removeLast().deallocate() }
    }

    /// Forgets all names, and keeps one chunk for the next ones.
    func reset() {
        used = 0
        while unsafe chunks.count > 1 { unsafe chunks.removeLast().deallocate() }
    }

    /// The canonical form of well-formed UTF-8, nil when it is longer than `byteCountMax`.
    ///
    /// Bytes that are in the form already stay where they are.
    func canonicalForm(
        of bytes: UnsafeRawBufferPointer, byteCountMax: Int
    ) -> UnsafeRawBufferPointer? {
        // Before the work, so that it is bounded.
        guard bytes.count <= byteCountMax * CanonicalForm.shrinkageMax else { return nil }
        if unsafe CanonicalForm.isCertain(of: bytes) {
            return unsafe bytes.count <= byteCountMax ? bytes : nil
        }
        var composed = unsafe CanonicalForm.composed(String(decoding: bytes, as: UTF8.self))
        return composed.withUTF8 { utf8 in
            guard utf8.count <= byteCountMax else { return nil }
            let composed = UnsafeRawBufferPointer(utf8)
            return unsafe composed.elementsEqual(bytes) ? bytes : copy(composed)
        }
    }

    private func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let chunk: UnsafeMutableRawBufferPointer
        if let last = unsafe chunks.last, last.count - used >= bytes.count {
            unsafe chunk = last
        } else {
            unsafe chunk = .allocate(
                byteCount: max(Self.chunkByteCount, bytes.count), alignment: 16)
            unsafe chunks.append(chunk)
            used = 0
        }
        let place = unsafe UnsafeMutableRawBufferPointer(
            rebasing: chunk[used..<(used + bytes.count)])
        unsafe place.copyMemory(from: bytes)
        used += bytes.count
        return UnsafeRawBufferPointer(place)
    }
}
