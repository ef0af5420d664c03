// The explorer in a frame: as high as it needs to be, and as light or dark as the page.
"use strict";
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
