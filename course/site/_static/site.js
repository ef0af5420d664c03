"use strict";
// Formulas wider than their column: smaller, down to 70 %; what is wider still scrolls.
function fit() {
  for (const formula of document.querySelectorAll("article mjx-container")) {
    const room = formula.closest("div.math, p, li, dd, td")?.clientWidth, shown = formula.hasAttribute("display");
    formula.classList.remove("wide");
    formula.dataset.size ??= Number.parseFloat(formula.style.fontSize) || 100;
    formula.style.fontSize = `${formula.dataset.size}%`;
    const share = room / formula.querySelector("mjx-math").getBoundingClientRect().width;
    if (!(share < 1) || (!shown && formula.closest("td"))) continue;  // a table scrolls as a whole
    formula.style.fontSize = `${formula.dataset.size * Math.max(.7, .995 * share)}%`;
    if (!shown && share < .7) formula.classList.add("wide");
  }
}
addEventListener("load", () => window.MathJax?.startup?.promise.then(() => { fit(); addEventListener("resize", fit); }));

// The explorer in a frame: as high as it needs to be, and as light or dark as the page.
const frames = () => document.querySelectorAll("iframe.explorer");
const tell = frame => frame.contentWindow.postMessage({ theme: document.documentElement.dataset.theme }, "*");
addEventListener("message", event => {
  for (const frame of frames()) {
    if (frame.contentWindow !== event.source || !(event.data?.explorerHeight > 0)) continue;
    frame.style.height = `${event.data.explorerHeight + 2}px`;  // and its border
    tell(frame);
  }
});
new MutationObserver(() => frames().forEach(tell)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
