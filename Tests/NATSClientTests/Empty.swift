// placeholder until the first test of NATSClient
