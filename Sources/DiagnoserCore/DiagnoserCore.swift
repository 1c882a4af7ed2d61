// placeholder until the first file of DiagnoserCore
