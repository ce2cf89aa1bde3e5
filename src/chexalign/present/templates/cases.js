"use strict";
(() => {
  document.documentElement.dataset.ready = "yes";
  const block = document.getElementById("case-index");
  if (!block) return;
  const index = JSON.parse(block.textContent);
  const get = (id) => document.getElementById(id);
  const [browser, list, rows, sheet] = ["browser", "list", "rows", "case"].map(get);
  const [arm, score, finding, role, search, all] = ["arm", "score", "finding", "role", "search", "all"].map(get);
  const ROW_PX = 50, AROUND = 6;
  const arms = index.policies.filter((policy) => policy !== index.baseline);
  const SAYS = { found: "now found", lost: "now missed", invented: "now invented", withdrawn: "no longer invented" };
  let order = arms.length ? "worst" : "run", kept = [], current = 0;

  // Small helpers: an element with text, never with markup, so that no report can become part of the page.
  function el(tag, cls, ...inside) {
    const made = document.createElement(tag);
    if (cls) made.className = cls;
    made.append(...inside.filter((each) => each !== null && each !== undefined));
    return made;
  }
  const look = (policy) => document.querySelector(`template[data-policy="${CSS.escape(policy)}"]`);
  const signed = (x, n) => (x.toFixed(n) == 0 ? (0).toFixed(n) : (x > 0 ? "+" : "−") + Math.abs(x).toFixed(n));
  const metric = () => index.metrics[score.selectedIndex] || index.metrics[0];
  const column = (policy, name) => (index.scores[policy] || {})[name] || [];
  const names = (bits) => index.labels.filter((_, i) => bits & (1 << i));

  function delta(i, policy, name) {
    const [before, after] = [column(index.baseline, name)[i], column(policy, name)[i]];
    return before === null || after === null || before === undefined || after === undefined ? null : after - before;
  }
  function changes(i, policy) {
    const [truth, before, after] = [index.reference[i], index.written[index.baseline][i], index.written[policy][i]];
    return {
      found: truth & after & ~before, lost: truth & before & ~after,
      invented: after & ~truth & ~before, withdrawn: before & ~truth & ~after,
      missed: truth & ~after, extra: after & ~truth,
    };
  }
  const count = (bits) => { let n = 0; for (; bits; bits &= bits - 1) n++; return n; };
  function findingsMoved(i, forBetter) {
    const change = changes(i, arm.value);
    return forBetter ? count(change.found) + count(change.withdrawn) : count(change.lost) + count(change.invented);
  }
  const goodness = (value, better) => (Math.abs(value) < 0.005 || !better ? "same" : value > 0 === better > 0 ? "up" : "down");

  function fits(i) {
    if (search.value && !index.ids[i].toLowerCase().includes(search.value.trim().toLowerCase())) return false;
    const bits = finding.value === "" ? -1 : 1 << Number(finding.value);
    if (finding.value === "" && role.value === "any") return true;
    const after = index.written[arm.value] || index.written[index.baseline];
    const change = arm.value ? changes(i, arm.value) : { missed: index.reference[i] & ~after[i], extra: after[i] & ~index.reference[i] };
    const place = {
      any: index.reference[i] | index.written[index.baseline][i] | after[i], reference: index.reference[i],
      found: change.found, lost: change.lost, missed: change.missed, invented: change.extra,
    };
    return (place[role.value] & bits) !== 0;
  }
  function ranked() {
    const every = index.ids.map((_, i) => i);
    if (order === "disagree") return index.disagree.filter((row) => row[0] === arm.value).map((row) => row[1]);
    if (order === "run" || (order !== "longest" && !arm.value)) return every;
    const words = column(arm.value || index.baseline, "words");
    const sign = (order === "improved" ? -1 : 1) * (metric().better || 1);
    const moved = every.map((i) => (order === "longest" ? 0 : findingsMoved(i, order === "improved")));
    const key = every.map((i) => {
      const value = order === "longest" ? words[i] : delta(i, arm.value, metric().name);
      return value === null || value === undefined ? Infinity : order === "longest" ? -value : sign * value;
    });
    return every.sort((a, b) => (key[a] === key[b] ? 0 : key[a] - key[b]) || moved[b] - moved[a] || a - b);
  }

  function update(first) {
    kept = ranked().filter(fits);
    current = first !== undefined && kept.includes(first) ? kept.indexOf(first) : 0;
    document.querySelectorAll(".presets button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.order === order));
    rows.style.height = kept.length * ROW_PX + "px";
    list.scrollTop = Math.max(0, (current - 2) * ROW_PX);
    show();
  }
  function show() {
    get("position").textContent = kept.length ? `${current + 1} of ${kept.length}` : "0 of 0";
    const top = current * ROW_PX;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX - list.clientHeight;
    paintRows();
    paintCase();
  }
  function turn(step) {
    if (!kept.length) return;
    current = Math.min(kept.length - 1, Math.max(0, current + step));
    show();
    const box = browser.getBoundingClientRect();
    if (box.top > innerHeight * 0.6 || box.bottom < 100) browser.scrollIntoView({ block: "start", behavior: "instant" });
  }

  // Only the rows in view exist; the list is as high as all of them.
  function paintRows() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - AROUND);
    const last = Math.min(kept.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_PX) + AROUND);
    const made = [];
    for (let at = first; at < last; at++) {
      const i = kept[at], info = metric();
      const row = el("li", at === current ? "here" : "", el("b", "", index.ids[i]));
      row.style.top = at * ROW_PX + "px";
      if (order === "longest") row.append(el("i", "same", `${column(arm.value || index.baseline, "words")[i]} words`));
      else if (arm.value) {
        const value = delta(i, arm.value, info.name);
        row.append(value === null ? el("i", "same", "no score") : el("i", goodness(value, info.better), signed(value, info.decimals)));
      }
      if (arm.value) {
        const change = changes(i, arm.value);
        const told = Object.keys(SAYS).flatMap((kind) => (change[kind] ? [`${SAYS[kind]}: ${names(change[kind]).join(", ")}`] : []));
        row.append(el("small", "", told.join("; ") || "same findings"));
      } else row.append(el("small", "", names(index.reference[i]).join(", ") || "no positive finding"));
      row.addEventListener("click", () => { current = at; show(); });
      made.push(row);
    }
    rows.replaceChildren(...made);
  }

  function sentence([kind, pieces]) {
    const span = el("span", "s " + kind);
    if (typeof pieces === "string") span.append(pieces);
    else pieces.forEach(([change, text], i) => span.append(i ? " " : "", change === "same" ? text : el(change === "new" ? "mark" : "del", "", text)));
    return span;
  }
  function chips(found) {
    const made = found.map(([label, kind, change]) => {
      const chip = el("span", `chip ${kind}${change ? " changed" : ""}`, label);
      chip.append(change ? el("em", "", " " + SAYS[change]) : el("span", "sr", ` (${kind})`));
      return chip;
    });
    return el("p", "chips", ...(made.length ? made : [el("span", "none", "no positive finding in either text")]));
  }
  function scoresOf(i, policy) {
    const made = index.metrics.flatMap((info) => {
      const value = column(policy, info.name)[i];
      if (value === null || value === undefined) return [];
      const shown = el("span", "", info.label + " ", el("b", "", value.toFixed(info.decimals)));
      shown.title = info.says;
      const change = policy === index.baseline ? null : delta(i, policy, info.name);
      if (change !== null) shown.append(" ", el("i", goodness(change, info.better), signed(change, info.decimals)));
      return [shown];
    });
    return el("p", "scores", ...made);
  }
  function card(i, policy, written) {
    const head = el("h4", "", look(policy).content.cloneNode(true), " ", el("em", "", policy === index.baseline ? "before" : "after" + (index.judges[policy] ? `, learned from ${index.judges[policy]}` : "")));
    const text = el("p", "text"), gone = el("p", "text gone", el("span", "sr", "No longer written: "));
    for (const each of written.sentences) (each[0] === "dropped" ? gone : text).append(sentence(each), " ");
    if (!text.childNodes.length) text.append(el("span", "none", "(empty)"));
    const made = el("div", "card", head, chips(written.chips), text, gone.childNodes.length > 1 ? gone : null, scoresOf(i, policy));
    made.dataset.policy = policy;
    made.style.setProperty("--policy", look(policy).dataset.color);
    return made;
  }
  function film([view, synthetic, data]) {
    const image = el("img");
    image.src = "data:image/jpeg;base64," + data;
    image.alt = `${view} view${synthetic ? ", synthetic phantom" : ""}`;
    image.addEventListener("click", () => image.classList.toggle("large"));
    return el("figure", "", image, el("figcaption", "", synthetic ? el("b", "", "Synthetic phantom") : "", synthetic ? " · " : "", view));
  }
  function paintCase() {
    const i = kept[current];
    if (i === undefined) return sheet.replaceChildren(el("p", "none", "No case fits these filters."));
    const held = get("case-" + i);
    if (!held) return sheet.replaceChildren(el("p", "none", "This case is still being read from the file."));
    const found = JSON.parse(held.textContent);
    const shown = all.checked ? index.policies : index.policies.filter((p) => p === index.baseline || p === arm.value);
    const link = el("a", "", index.ids[i]);
    link.href = "#study=" + encodeURIComponent(index.ids[i]) + (arm.value ? "&arm=" + encodeURIComponent(arm.value) : "");
    const judged = index.disagree.find((row) => row[0] === arm.value && row[1] === i);
    const films = el("div", "films", ...found.images.map(film));
    if (!found.images.length) films.append(el("p", "none", "No image."));
    const truth = el("div", "truth", el("h4", "", "Reference, by the radiologist"));
    truth.append(el("p", "chips", ...(found.findings.length ? found.findings.map((label) => el("span", "chip reference", label)) : [el("span", "none", "no positive finding")])));
    truth.append(el("p", "text", found.reference), el("h4", "", "Indication"), el("p", "text", found.indication || "not given"));
    const cards = shown.filter((p) => found.written[p]).map((p) => card(i, p, found.written[p]));
    const head = el("h3", "", link);
    if (judged) head.append(el("span", "judged", " judges disagree: " + Object.entries(judged[2]).map(([judge, gain]) => `${judge} ${signed(gain, 1)}`).join(", ") + " standard deviations"));
    sheet.replaceChildren(head, el("div", "sheet", films, truth), el("div", "written", ...cards));
  }

  function follow() {
    if (!location.hash.includes("=")) return;
    const wish = new URLSearchParams(location.hash.slice(1));
    if (arms.includes(wish.get("arm"))) arm.value = wish.get("arm");
    const study = wish.get("study");
    [finding.value, role.value, search.value] = ["", "any", ""];
    if (["worst", "improved", "disagree", "longest", "run"].includes(wish.get("order"))) order = wish.get("order");
    else if (study && order === "disagree") order = "worst";
    update(study ? index.ids.indexOf(study) : undefined);
    browser.scrollIntoView({ block: "start", behavior: "instant" });
  }

  const option = (value, text) => { const made = el("option", "", text); made.value = value; return made; };
  arm.append(...arms.map((policy) => option(policy, policy)));
  score.append(...index.metrics.map((info) => option(info.name, info.label)));
  finding.append(...index.labels.map((label, i) => option(i, label)));
  document.querySelectorAll(".presets button").forEach((b) => b.addEventListener("click", () => { order = b.dataset.order; update(); }));
  [arm, score, finding, role].forEach((c) => c.addEventListener("change", () => { update(c === arm ? kept[current] : undefined); c.blur(); }));
  all.addEventListener("change", () => { paintCase(); all.blur(); });
  search.addEventListener("input", () => update());
  list.addEventListener("scroll", paintRows, { passive: true });
  get("previous").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") return document.activeElement.blur();
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
    if (step) turn(step);
    if (event.key === "/") { event.preventDefault(); search.focus(); }
  });
  addEventListener("hashchange", follow);
  document.addEventListener("DOMContentLoaded", () => { paintCase(); follow(); });
  browser.hidden = false;
  update();
})();
