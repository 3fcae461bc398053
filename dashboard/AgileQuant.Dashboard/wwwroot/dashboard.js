// The little that the browser must do by itself: the colour theme, copying, and Escape on hints.
// Everything else is Blazor Server. No dependency, no inline script (see the content security policy).
(() => {
  "use strict";
  const key = "agilequant-theme";
  const order = ["system", "light", "dark"];
  const systemDark = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      const stored = localStorage.getItem(key);
      return order.includes(stored) ? stored : "system";
    } catch {
      return "system"; // storage is switched off
    }
  };

  const apply = () => {
    const choice = chosen();
    const dark = choice === "dark" || (choice === "system" && systemDark.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.documentElement.dataset.themeChoice = choice;
    const light = document.getElementById("theme-light");
    const darkSheet = document.getElementById("theme-dark");
    if (light && darkSheet) {
      light.media = dark ? "not all" : "all";
      darkSheet.media = dark ? "all" : "not all";
    }
  };

  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.dataset.copied = "yes";
    } catch {
      button.dataset.copied = "no"; // not allowed here: the text beside it can be selected
    }
    setTimeout(() => delete button.dataset.copied, 1500);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action=theme], [data-copy]");
    if (button?.dataset.action === "theme") {
      const next = order[(order.indexOf(chosen()) + 1) % order.length];
      try { localStorage.setItem(key, next); } catch { /* as above */ }
      apply();
    } else if (button) {
      copy(button);
    }
    for (const hint of document.querySelectorAll("details.hint[open]")) {
      if (!hint.contains(event.target)) { hint.open = false; }
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const hint of document.querySelectorAll("details.hint[open]")) { hint.open = false; }
    }
  });

  systemDark.addEventListener("change", apply);
  apply();
})();
