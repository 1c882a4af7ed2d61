// placeholder until the first file of ServiceKit
