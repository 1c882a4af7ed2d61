// placeholder until the first file of IngestCore
