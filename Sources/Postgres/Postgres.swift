// placeholder until the first file of Postgres
