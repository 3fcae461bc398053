// Two cores: tests that run Postgres, sshd and the engine side by side would only wait for each other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
