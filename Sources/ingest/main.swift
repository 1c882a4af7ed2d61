import IngestCore
import ServiceKit

await IngestProgram.program.main()
