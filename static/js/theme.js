// Runs before anything is drawn, so that no page flashes in the other scheme.

(() => {
  const root = document.documentElement;
  const apply = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("parley.theme");
    } catch {
      // Private windows may refuse to remember; then it is the system's.
    }
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
  };
  apply();
  addEventListener("storage", apply);
  addEventListener("parley:theme", apply);
})();
