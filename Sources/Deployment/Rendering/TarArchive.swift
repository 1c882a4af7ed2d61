/// An archive of files (POSIX.1-1988, ustar) with numeric owners.
package enum TarArchive {
    private static let blockBytes = 512
    private static let nameBytesMax = 100
    private static let prefixBytesMax = 155

    /// The files, and before them the folders that they are in.
    ///
    /// Paths are ours, and short enough for the format (100 bytes, 255 with folders).
    package static func bytes(
        _ files: [RenderedFile], folders: [RenderedFolder] = []
    ) -> [UInt8] {
        var archive: [UInt8] = []
        var known: Set<String> = []
        for file in files {
            for folder in file.folders where known.insert(folder).inserted {
                let wanted = folders.first { $0.path == folder }
                archive += header(
                    "\(folder)/", byteCount: 0, mode: wanted?.mode ?? 0o755,
                    owner: wanted?.owner ?? 0, kind: "5")
            }
            archive += header(
                file.path, byteCount: file.content.count, mode: file.mode, owner: file.owner,
                kind: "0")
            archive += file.content
            let surplus = archive.count % blockBytes
            if surplus > 0 { archive += [UInt8](repeating: 0, count: blockBytes - surplus) }
        }
        return archive + [UInt8](repeating: 0, count: 2 * blockBytes)
    }

    private static func header(
        _ path: String, byteCount: Int, mode: UInt16, owner: UInt32, kind: Character
    ) -> [UInt8] {
        var name = Array(path.utf8)
        var prefix: [UInt8] = []
        if name.count > nameBytesMax,
            let cut = name.dropLast().lastIndex(of: UInt8(ascii: "/"))
        {
            prefix = Array(name[..<cut])
            name = Array(name[(cut + 1)...])
        }
        precondition(
            name.count <= nameBytesMax && prefix.count <= prefixBytesMax,
            "the path \(path) is too long for an archive")
        var block: [UInt8] = []
        func field(_ bytes: [UInt8], _ width: Int) {
            block += bytes + [UInt8](repeating: 0, count: width - bytes.count)
        }
        func octal(_ number: Int, _ width: Int) {
            let digits = String(number, radix: 8)
            precondition(digits.utf8.count < width, "\(number) is too large for an archive")
            field(
                Array((String(repeating: "0", count: width - 1 - digits.count) + digits).utf8),
                width)
        }
        field(name, nameBytesMax)
        octal(Int(mode), 8)
        octal(Int(owner), 8)
        octal(Int(owner), 8)
        octal(byteCount, 12)
        // The time says nothing: digests are compared.
        octal(0, 12)
        field(Array("        ".utf8), 8)
        field(Array("\(kind)".utf8), 1)
        field([], nameBytesMax)
        field(Array("ustar".utf8) + [0] + Array("00".utf8), 8)
        field([], 32)
        field([], 32)
        octal(0, 8)
        octal(0, 8)
        field(prefix, prefixBytesMax)
        field([], 12)
        let sum = block.reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        let text =
            Array((String(repeating: "0", count: 6 - digits.count) + digits).utf8) + [0, 0x20]
        block.replaceSubrange(148..<156, with: text)
        return block
    }
}
