// Sketches
