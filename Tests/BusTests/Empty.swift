// placeholder until the first test of Bus
