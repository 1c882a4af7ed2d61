// placeholder until the first file of Diagnosis
