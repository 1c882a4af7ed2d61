internal import Glibc
internal import PrivateServers

/// `psql` on the database of a local stack.
package enum SQLShell {
    /// Replaces this process by `psql`.
    ///
    /// - Parameter arguments: Passed on to `psql`.
    /// - Throws: ``LocalStackError`` when no stack runs on `folder`, or `psql` is missing.
    package static func replaceProcess(
        folder: StackFolder, arguments: [String]
    ) throws(LocalStackError) -> Never {
        guard access(folder.serviceFile, R_OK) == 0 else {
            throw LocalStackError(
                "there is no local stack in \(folder.path) that you may open: start one with "
                    + "'qoectl local up', or name its folder with --data-dir")
        }
        guard folder.isClaimed else {
            throw LocalStackError(
                "the local stack in \(folder.path) is not running: start it with 'qoectl local up'")
        }
        let psql: String
        do throws(PrivateServerError) {
            psql = try InstalledProgram.find("psql", debianPackage: "postgresql-client")
        } catch {
            throw LocalStackError("\(error)")
        }
        setenv("PGSERVICEFILE", folder.serviceFile, 1)
        setenv("PGSERVICE", StackFolder.serviceName, 1)
        let words = [psql] + arguments
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        pointers.append(nil)
        execv(psql, &pointers)
        throw LocalStackError("cannot run \(psql): \(systemMessage())")
    }
}
