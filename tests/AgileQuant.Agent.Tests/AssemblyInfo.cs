using AgileQuant.Agent.Tests.Support;

[assembly: AssemblyFixture(typeof(LocalBoard))]
[assembly: AssemblyFixture(typeof(ContractReport))]
