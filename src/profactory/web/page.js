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

  // Structures. One stage for each place of the page, kept when only colours change so that the view stays.
  const stages = new WeakMap();
  let program = null;
  const load = () =>
    (program ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `${base()}/viewer.js`;
      script.onload = () => done(window.$3Dmol);
      script.onerror = () => { program = null; failed(new Error("viewer.js")); };
      document.head.append(script);
    }));

  const GREY = "#aab2bd";
  const PALE = "#c3cad3";
  const paint = (stage, asked) => {
    const colours = asked.colours.split(",");
    const states = asked.states;
    const marks = JSON.parse(asked.marks);
    const place = (atom) => atom.resi - 1;
    for (const atom of stage.model.selectedAtoms({})) {
      const here = states[place(atom)];
      atom.ss = here === "H" ? "h" : here === "E" ? "s" : "c";
      atom.ssbegin = states[place(atom) - 1] !== here;
      atom.ssend = states[place(atom) + 1] !== here;
    }
    const cartoon = { colorfunc: (atom) => colours[place(atom)] || GREY };
    if (!stage.model.selectedAtoms({ atom: "O" }).length) cartoon.style = "trace";
    stage.model.setStyle({}, { cartoon });
    // A thin line: as a cartoon without secondary structure 3Dmol draws nothing of them.
    for (const other of stage.others) other.setStyle({}, { cartoon: { color: PALE, style: "trace", thickness: 0.15 } });
    const say = (atom) => {
      if (stage.label) stage.viewer.removeLabel(stage.label);
      const text = `${atom.resn} ${atom.resi}: ${marks[place(atom)] ?? ""}`;
      stage.label = stage.viewer.addLabel(text, { position: atom, fontSize: 13, backgroundOpacity: 0.8 });
    };
    const hush = () => { if (stage.label) stage.viewer.removeLabel(stage.label); stage.label = null; };
    stage.model.setHoverable({}, true, say, hush);
    hush();
    stage.viewer.render();
  };

  // The chain that is asked for in the middle, all of it: 3Dmol fits what it shows to the height of the frame only.
  const look = (stage) => {
    stage.viewer.zoomTo(stage.others.length ? { model: stage.model } : {});
    stage.viewer.zoom(Math.min(1, stage.box.clientWidth / stage.box.clientHeight));
    stage.viewer.render();
  };

  const open = async (stage, asked) => {
    const turn = (stage.turn = (stage.turn ?? 0) + 1);
    const read = async (file) => {
      const answer = await fetch(file);
      if (!answer.ok) throw new Error(file);
      return answer.text();
    };
    const files = [asked.file, ...asked.others.split(" ").filter(Boolean)];
    const texts = await Promise.all(files.map(read));
    if (turn !== stage.turn) return; // something else was asked for meanwhile
    stage.viewer.removeAllModels();
    const models = texts.map((text) => stage.viewer.addModel(text, "pdb", { noComputeSecondaryStructure: true }));
    stage.model = models[0];
    stage.others = models.slice(1);
    stage.file = asked.file;
    paint(stage, asked);
    look(stage);
  };

  window.profactory.view = async (element) => {
    const frame = element.querySelector(".pf-viewer");
    if (!frame) return;
    const asked = frame.dataset;
    try {
      const tool = await load();
      let stage = stages.get(element);
      if (!stage) {
        const box = document.createElement("div");
        box.className = "pf-stage";
        frame.append(box);
        stage = { box, viewer: tool.createViewer(box, { backgroundAlpha: 0, antialias: true }), others: [] };
        stages.set(element, stage);
      }
      if (stage.box.parentElement !== frame) frame.append(stage.box);
      if (stage.file === asked.file) paint(stage, asked);
      else await open(stage, asked);
      frame.dataset.drawn = asked.file;
      frame.querySelector("[data-reset]")?.addEventListener("click", () => {
        look(stage);
      });
    } catch (error) {
      console.warn(`The structure is not drawn: ${error}`);
      frame.textContent = asked.missing; // as without WebGL
    }
  };

  let server = null;
  const ask = async () => {
    try {
      const answer = await fetch(`${base()}/alive`, { cache: "no-store" });
      const found = (await answer.json()).server;
      if (server && found !== server) window.location.reload();
      server = found;
    } catch {
      // The server is away; the next look tells.
    }
  };
  ask();
  setInterval(ask, 1500);
})();
