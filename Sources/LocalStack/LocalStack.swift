// placeholder until the first file of LocalStack
