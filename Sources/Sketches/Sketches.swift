// placeholder until the first file of Sketches
