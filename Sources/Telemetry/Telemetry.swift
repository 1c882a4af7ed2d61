// placeholder until the first file of Telemetry
