internal import Glibc
internal import SystemPackage

/// Reads small text files, such as configurations and tokens.
package enum TextFile {
    /// Why a file could not be read, as a sentence that follows its path.
    package struct ReadError: Error, CustomStringConvertible {
        package let description: String
    }

    /// The whole file as text.
    ///
    /// - Parameter limit: The most bytes that are accepted.
    /// - Throws: If it cannot be opened or read, is not a regular file or a pipe, is longer than
    ///   the limit, or is not UTF-8.
    package static func read(_ path: String, limit: Int) throws(ReadError) -> String {
        do {
            let descriptor = try FileDescriptor.open(FilePath(path), .readOnly)
            let bytes: [UInt8] = try descriptor.closeAfter {
                try contents(of: descriptor, limit: limit)
            }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw ReadError(description: "is not UTF-8 text")
            }
            return text
        } catch let error as ReadError {
            throw error
        } catch Errno.noSuchFileOrDirectory {
            throw ReadError(description: "there is no such file")
        } catch Errno.permissionDenied {
            throw ReadError(
                description: "may not be read by user \(getuid()); change its owner or mode")
        } catch Errno.isDirectory {
            throw ReadError(description: "is a folder, not a file")
        } catch {
            throw ReadError(description: "cannot be read: \(error)")
        }
    }

    private static func contents(of descriptor: FileDescriptor, limit: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = try chunk.withUnsafeMutableBytes { try descriptor.read(into: $0) }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= limit else {
                throw ReadError(description: "is longer than \(UnitText.text(ofByteCount: limit))")
            }
        }
    }
}
