namespace AgileQuant.Dashboard.Model; internal static class Placeholder;
