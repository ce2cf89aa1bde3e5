"use strict";
(() => {
  const cases = [...document.querySelectorAll(".case")];
  document.documentElement.dataset.ready = "yes";
  if (!cases.length) return;
  const get = (id) => document.getElementById(id);
  const thumbs = [...document.querySelectorAll(".thumbs a")];
  const [outcome, finding, all] = [get("outcome"), get("finding"), get("all")];
  let current = Math.max(0, cases.findIndex((c) => "#" + c.id === location.hash));

  const fits = (c) =>
    (!outcome.value || c.dataset.outcomes.split(" ").includes(outcome.value)) &&
    (!finding.value || c.dataset.labels.split("|").includes(finding.value));

  function show() {
    const kept = cases.map(fits);
    if (!kept[current]) current = Math.max(0, kept.indexOf(true));
    cases.forEach((c, i) => c.classList.toggle("off", !kept[i] || (!all.checked && i !== current)));
    thumbs.forEach((t, i) => {
      t.classList.toggle("out", !kept[i]);
      t.classList.toggle("here", kept[i] && i === current);
    });
    const n = kept.filter(Boolean).length;
    document.querySelector(".empty").hidden = n > 0;
    get("position").textContent = n ? kept.slice(0, current + 1).filter(Boolean).length + " of " + n : "0 of 0";
  }

  function turn(step) {
    for (let i = current + step; i >= 0 && i < cases.length; i += step) {
      if (fits(cases[i])) {
        current = i;
        show();
        if (all.checked) cases[i].scrollIntoView({ block: "start" });
        return;
      }
    }
  }

  get("previous").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  [outcome, finding, all].forEach((control) => control.addEventListener("change", show));
  thumbs.forEach((t, i) => t.addEventListener("click", (event) => {
    current = i;
    show();
    if (!all.checked) event.preventDefault();
  }));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const box = get("cases").getBoundingClientRect();
    if (box.top > innerHeight || box.bottom < 0) return;
    if (event.key === "ArrowRight") turn(1);
    if (event.key === "ArrowLeft") turn(-1);
  });
  thumbs.forEach((t, i) => {
    const film = cases[i].querySelector("img");
    if (!film) return;
    const small = new Image(64, 64);
    small.src = film.src; // copied here, so that the file holds every image once
    small.alt = "Case " + t.textContent;
    t.replaceChildren(small);
  });
  document.querySelector(".controls").hidden = false;
  show();
})();
