// What the page does in the browser beside Gradio: keep the address of the open run, switch the language without
// losing the place, and come back by itself when the server was restarted.
(() => {
  const base = () => window.location.pathname.replace(/\/(en|zh)\/?$/, "");

  window.profactory = {
    arrival: window.location.search,
    keep(name, value) {
      const address = new URL(window.location.href);
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
      window.history.replaceState(null, "", address);
      return value;
    },
    save(name, text) {
      if (!text) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
      link.download = name;
      link.click();
      URL.revokeObjectURL(link.href);
    },
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-language]");
    if (!link) return;
    event.preventDefault();
    window.location.href = `${base()}/language/${link.dataset.language}${window.location.search}`;
  });

  let server = null;
  const look = async () => {
    try {
      const answer = await fetch(`${base()}/alive`, { cache: "no-store" });
      const found = (await answer.json()).server;
      if (server && found !== server) window.location.reload();
      server = found;
    } catch {
      // The server is away; the next look tells.
    }
  };
  look();
  setInterval(look, 1500);
})();
