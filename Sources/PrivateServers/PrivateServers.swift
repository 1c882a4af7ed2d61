// placeholder until the first file of PrivateServers
