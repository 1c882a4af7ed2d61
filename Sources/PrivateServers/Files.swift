internal import Glibc

/// Makes `path` and the folders above it, if they are missing.
func makeFolder(_ path: String) throws(PrivateServerError) {
    var made = path.hasPrefix("/") ? "/" : ""
    for component in path.split(separator: "/") {
        made += component
        if mkdir(made, 0o755) != 0 && errno != EEXIST {
            throw .file(path: made, reason: String(cString: strerror(errno)))
        }
        made += "/"
    }
}

/// Whether two paths name the same file or folder, however they are spelled.
func isSameFile(_ path: String, _ other: String) -> Bool {
    var first = stat()
    var second = stat()
    return stat(path, &first) == 0 && stat(other, &second) == 0
        && first.st_dev == second.st_dev && first.st_ino == second.st_ino
}

/// Replaces the content of the file `path` by `text`.
func write(_ text: String, to path: String) throws(PrivateServerError) {
    guard let file = fopen(path, "w") else {
        throw .file(path: path, reason: String(cString: strerror(errno)))
    }
    let written = fputs(text, file)
    // The last bytes are written by the close, which may fail on a full disk.
    guard fclose(file) == 0 && written >= 0 else {
        throw .file(path: path, reason: String(cString: strerror(errno)))
    }
}

/// The last few lines of a log, for an error message; empty when it cannot be read.
func lastLines(of path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    let most = 800
    if fseek(file, -most, SEEK_END) != 0 {
        rewind(file)
    }
    var buffer = [UInt8](repeating: 0, count: most)
    let count = fread(&buffer, 1, buffer.count, file)
    let lines = String(decoding: buffer.prefix(count), as: UTF8.self)
        .split(separator: "\n").suffix(4)
    return lines.joined(separator: " | ")
}
