// placeholder until the first file of AggregatorCore
