using AgileQuant.Agent.Tests.Support;

[assembly: AssemblyFixture(typeof(LocalBoard))]
