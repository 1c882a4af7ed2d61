// placeholder until the first file of Windowing
