import Bus
import FoundationEssentials
import Glibc
import IngestCore
import NATSClient
import PrivateServers
import Telemetry

/// The path of a program of this package that was built beside this one.
func builtProgram(_ name: String) -> String {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/\(name)"
}

/// A private nats-server whose program and promise to the disk can be chosen.
final class BenchmarkNATS {
    let process: PrivateProcess
    let connector: NATSConnector
    let url: String

    /// - Parameters:
    ///   - executable: Nil takes the installed one.
    ///   - syncsAlways: `sync_interval: always`, known since nats-server 2.10.
    init(folder: String, executable: String? = nil, syncsAlways: Bool = false) throws {
        let program =
            try executable
            ?? InstalledProgram.find("nats-server", debianPackage: "nats-server")
        mkdir(folder, 0o755)
        let port = try freeLoopbackPort()
        let sync = syncsAlways ? "sync_interval: always" : ""
        try write(
            """
            server_name: "benchmark"
            listen: "127.0.0.1:\(port)"
            max_payload: 1048576
            jetstream { store_dir: "\(folder)/store", max_file_store: 64G, \(sync) }

            """, to: "\(folder)/nats.conf")
        process = try PrivateProcess(
            PrivateProcess.Launch(
                name: "nats-server", executable: program, arguments: ["-c", "\(folder)/nats.conf"],
                logFile: "\(folder)/nats.log", pidFile: "\(folder)/nats.pid"))
        url = "nats://127.0.0.1:\(port)"
        connector = NATSConnector(NATSOptions(urls: [url], name: "benchmarks"))
        let connection = try connector.waitUntilConnected(within: .seconds(20))
        _ = try ensureStreams(StreamSettings(), on: JetStream(connection))
    }

    var processIdentifier: Int32 { process.processIdentifier }

    /// Forgets the events, so that one measurement does not fill the disk for the next.
    func removeEvents() throws {
        let jetStream = JetStream(
            try connector.waitUntilConnected(within: .seconds(10)), timeout: .seconds(60))
        let last = try jetStream.stream(named: BusStream.events).lastSequence
        try jetStream.purgeStream(named: BusStream.events, below: last + 1)
    }

    func stop() {
        connector.stop()
        try? process.kill()
    }
}

/// The program `ingest` on a free port.
final class BenchmarkIngest {
    let process: PrivateProcess
    let port: Int

    /// - Parameter threads: Event loops; nil takes the default, one per core.
    init(
        folder: String, natsURL: String, tokensFile: String, threads: Int?, further: [String] = []
    ) throws {
        let portFile = "\(folder)/ingest.ports"
        unlink(portFile)
        let process = try PrivateProcess(
            PrivateProcess.Launch(
                name: "ingest", executable: builtProgram("ingest"),
                arguments: [
                    "--nats-url", natsURL, "--tokens-file", tokensFile, "--listen", "127.0.0.1:0",
                    "--metrics-listen", "127.0.0.1:0", "--port-file", portFile,
                    "--log-level", "warning",
                    // A few probes post what a fleet would.
                    "--client-events-per-second", "1000000000",
                ] + (threads.map { ["--threads", "\($0)"] } ?? []) + further,
                logFile: "\(folder)/ingest.log", pidFile: "\(folder)/ingest.pid"))
        self.process = process
        port = try Self.port(in: portFile, process, log: "\(folder)/ingest.log")
        try awaitReady()
    }

    var processIdentifier: Int32 { process.processIdentifier }

    func stop() {
        _ = try? process.stop()
    }

    private static func port(
        in path: String, _ process: PrivateProcess, log: String
    ) throws -> Int {
        let limit = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < limit, process.exit == nil {
            for line in read(path).split(separator: "\n") where line.hasPrefix("api=") {
                if let port = line.split(separator: ":").last.flatMap({ Int($0) }) { return port }
            }
            usleep(10_000)
        }
        throw StoredStream.Failure(description: "ingest does not listen: \(read(log).suffix(400))")
    }

    /// Until a post is taken, NATS included.
    private func awaitReady() throws {
        let limit = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < limit {
            if HTTPProbe(port: port).get("/ready") == 200 { return }
            usleep(20_000)
        }
        throw StoredStream.Failure(description: "ingest is not ready")
    }
}

/// nginx (Debian's nginx-light) with one worker that answers 204 and does nothing else.
final class BenchmarkNginx {
    let process: PrivateProcess
    let port: Int
    /// Whether the location that reads the body first is there.
    let readsBodies: Bool

    private static let echoModule = "/usr/lib/nginx/modules/ngx_http_echo_module.so"

    /// Nil where nginx is missing, after saying what to install.
    init?(folder: String) throws {
        guard let executable = try? InstalledProgram.find("nginx", debianPackage: "nginx-light")
        else {
            print("  baseline skipped: nginx is missing; apt-get install nginx-light")
            return nil
        }
        readsBodies = access(Self.echoModule, R_OK) == 0
        let port = try freeLoopbackPort()
        self.port = port
        mkdir("\(folder)/nginx", 0o755)
        // `return` answers from the head and throws the body away as it comes; the echo module can be told to
        // read it into memory first, as a server that uses it must.
        let reading =
            readsBodies
            ? """
            location = /read/events {
                client_body_in_single_buffer on; client_body_buffer_size 1m;
                echo_read_request_body; echo_status 204; echo -n;
            }
            """ : ""
        try write(
            """
            \(readsBodies ? "load_module \(Self.echoModule);" : "")
            worker_processes 1; daemon off; pid \(folder)/nginx/pid; user root;
            error_log \(folder)/nginx/error.log;
            events { worker_connections 4096; }
            http {
                access_log off; client_max_body_size 16m; client_body_temp_path \(folder)/nginx/body;
                keepalive_requests 1000000000;
                server {
                    listen 127.0.0.1:\(port);
                    location / { return 204; }
                    \(reading)
                }
            }

            """, to: "\(folder)/nginx.conf")
        process = try PrivateProcess(
            PrivateProcess.Launch(
                name: "nginx", executable: executable,
                arguments: ["-c", "\(folder)/nginx.conf", "-p", "\(folder)/nginx"],
                logFile: "\(folder)/nginx.log", pidFile: "\(folder)/nginx.pid"))
        let limit = ContinuousClock.now + .seconds(10)
        while HTTPProbe(port: port).get("/") != 204 {
            guard ContinuousClock.now < limit, process.exit == nil else {
                throw StoredStream.Failure(
                    description: "nginx does not answer: \(read("\(folder)/nginx.log"))")
            }
            usleep(20_000)
        }
    }

    func stop() {
        _ = try? process.stop()
    }
}

/// Asks a server once.
struct HTTPProbe {
    let port: Int

    /// The status of a GET; nil when there is no answer.
    func get(_ path: String) -> Int? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard SocketLoad.connect(descriptor, port: port) else { return nil }
        let request = "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        _ = Array(request.utf8).withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        var answer = [UInt8](repeating: 0, count: 64)
        let count = recv(descriptor, &answer, answer.count, 0)
        guard count >= 12 else { return nil }
        return Int(String(decoding: answer[9..<12], as: UTF8.self))
    }
}
