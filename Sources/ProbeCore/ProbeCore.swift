// placeholder until the first file of ProbeCore
