// placeholder until the first file of NATSClient
