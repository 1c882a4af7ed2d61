// placeholder until the first file of Bus
