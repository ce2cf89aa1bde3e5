(() => {
  const { el, get, held, option, film, marked } = desk;
  const index = held("case-index");
  if (!index) return;
  const [arm, score, finding, role, search, all] = ["arm", "score", "finding", "role", "search", "all"].map(get);
  const arms = index.policies.filter((policy) => policy !== index.baseline);
  const SAYS = { found: "now found", lost: "now missed", invented: "now invented", withdrawn: "no longer invented" };
  const cases = desk.open("", { row, paint });
  let order = arms.length ? "worst" : "run";

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
    cases.browser.querySelectorAll(".presets button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.order === order));
    cases.fill(ranked().filter(fits), first);
  }

  function row(i) {
    const info = metric(), made = [el("b", "", index.ids[i])];
    if (order === "longest") made.push(el("i", "same", `${column(arm.value || index.baseline, "words")[i]} words`));
    else if (arm.value) {
      const value = delta(i, arm.value, info.name);
      made.push(value === null ? el("i", "same", "no score") : el("i", goodness(value, info.better), signed(value, info.decimals)));
    }
    if (arm.value) {
      const change = changes(i, arm.value);
      const told = Object.keys(SAYS).flatMap((kind) => (change[kind] ? [`${SAYS[kind]}: ${names(change[kind]).join(", ")}`] : []));
      return [...made, el("small", "", told.join("; ") || "same findings")];
    }
    return [...made, el("small", "", names(index.reference[i]).join(", ") || "no positive finding")];
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
    const made = el("div", "card", head, chips(written.chips), ...marked(written.sentences, "No longer written: "), scoresOf(i, policy));
    made.dataset.policy = policy;
    made.style.setProperty("--policy", look(policy).dataset.color);
    return made;
  }
  function paint(i, sheet) {
    if (i === undefined) return sheet.replaceChildren(el("p", "none", "No case fits these filters."));
    const found = held("case-" + i);
    if (!found) return sheet.replaceChildren(el("p", "none", "This case is still being read from the file."));
    const shown = all.checked ? index.policies : index.policies.filter((p) => p === index.baseline || p === arm.value);
    const link = el("a", "", index.ids[i]);
    link.href = "#study=" + encodeURIComponent(index.ids[i]) + (arm.value ? "&arm=" + encodeURIComponent(arm.value) : "");
    const judged = index.disagree.find((row) => row[0] === arm.value && row[1] === i);
    const films = el("div", "films", ...found.images.map((image) => film(image)));
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
    const wish = new URLSearchParams(location.hash.slice(1));
    if (!["study", "arm", "order"].some((name) => wish.has(name))) return;
    if (arms.includes(wish.get("arm"))) arm.value = wish.get("arm");
    const study = wish.get("study");
    [finding.value, role.value, search.value] = ["", "any", ""];
    if (["worst", "improved", "disagree", "longest", "run"].includes(wish.get("order"))) order = wish.get("order");
    else if (study && order === "disagree") order = "worst";
    update(study ? index.ids.indexOf(study) : undefined);
    cases.browser.scrollIntoView({ block: "start", behavior: "instant" });
  }

  arm.append(...arms.map((policy) => option(policy, policy)));
  score.append(...index.metrics.map((info) => option(info.name, info.label)));
  finding.append(...index.labels.map((label, i) => option(i, label)));
  cases.browser.querySelectorAll(".presets button").forEach((b) => b.addEventListener("click", () => { order = b.dataset.order; update(); }));
  [arm, score, finding, role].forEach((c) => c.addEventListener("change", () => { update(c === arm ? cases.at() : undefined); c.blur(); }));
  all.addEventListener("change", () => { cases.repaint(); all.blur(); });
  search.addEventListener("input", () => update());
  addEventListener("hashchange", follow);
  document.addEventListener("DOMContentLoaded", () => { cases.repaint(); follow(); });
  update();
})();
