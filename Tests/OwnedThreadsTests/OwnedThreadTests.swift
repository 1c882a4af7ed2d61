import Glibc
import OwnedThreads
import Testing

@Suite struct OwnedThreadTests {
    @Test func `a refused thread is nil, and what was to run never does`() async {
        // In a process of its own, which can start no threads afterwards.
        await #expect(processExitsWith: .success) {
            var none = rlimit(rlim_cur: 0, rlim_max: 0)
            // RLIMIT_NPROC, which is no constant to Swift.
            #expect(setrlimit(__rlimit_resource_t(6), &none) == 0)
            // Limits do not hold for root.
            if getuid() == 0 { #expect(setuid(65_534) == 0) }
            let thread = OwnedThread(ifPossible: "refused") { exit(3) }
            #expect(thread == nil)
        }
    }

    @Test func `a thread that was started is joined`() {
        let ran = Monitor(false)
        let thread = OwnedThread(ifPossible: "started") { ran.update { $0 = true } }
        thread?.join()
        #expect(ran.withLock { $0 })
    }
}
