// placeholder until the first file of Blocks
