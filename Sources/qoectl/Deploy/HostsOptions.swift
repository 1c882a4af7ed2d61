import ArgumentParser
import Deployment
import ServiceKit

/// Where the machines of the installation stand.
struct HostsOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The hosts file.", discussion: "hosts.example shows one.", valueName: "path"))
    var hosts = "hosts"

    /// A machine is one line.
    private static let byteMax = 1 << 20

    /// The machines; says what is wrong with the file and ends the command when there are none.
    func inventory() throws -> Inventory {
        let text: String
        do throws(TextFile.ReadError) {
            text = try TextFile.read(hosts, limit: Self.byteMax)
        } catch {
            complain(
                "\(hosts): \(error); name the hosts file with --hosts PATH, and see hosts.example "
                    + "for what belongs into it")
            throw Self.wrongFile
        }
        do throws(HostsError) {
            let inventory = try Inventory(text)
            for warning in inventory.warnings { complain(warning.text(file: hosts)) }
            return inventory
        } catch {
            for problem in error.problems { complain(problem.text(file: hosts)) }
            throw Self.wrongFile
        }
    }

    private static let wrongFile = ArgumentParser.ExitCode(
        ServiceKit.ExitCode.configuration.rawValue)
}

/// One machine of them, or all.
struct MachineOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Only this machine: one of its names, or its address.", valueName: "name"))
    var machine: String?

    func chosen(of inventory: Inventory) throws -> [Machine] {
        guard let machine else { return inventory.machines }
        guard let found = inventory.machine(called: machine) else {
            let known = inventory.services.map(\.name).joined(separator: ", ")
            throw ValidationError("no machine is called \(machine); there are \(known)")
        }
        return [found]
    }
}
