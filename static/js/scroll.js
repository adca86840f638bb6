// Keeps the end in view, unless the reader went up to read.

const NEAR_PX = 60;

export class Follower {
  #following = true;
  #top = 0;

  constructor(scroller, content, button) {
    this.scroller = scroller;
    this.button = button;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    // A wheel turned up counts at once; its scroll event may come after the next drawing.
    scroller.addEventListener("wheel", ({ deltaY }) => { if (deltaY < 0) this.#set(this.#fits()); }, { passive: true });
    button.addEventListener("click", () => this.toEnd());
    const sizes = new ResizeObserver(() => this.#resized());
    sizes.observe(scroller);
    sizes.observe(content);
  }

  toEnd() {
    this.#set(true);
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #resized() {
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.#set(this.#fits());
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const isUp = scrollTop < this.#top;
    this.#top = scrollTop;
    // What has grown since the last scrolling is no reason to think that the reader has left.
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.#set(true);
    else if (isUp) this.#set(false);
  }

  #fits() {
    return this.scroller.scrollHeight <= this.scroller.clientHeight;
  }

  #set(following) {
    this.#following = following;
    this.button.hidden = following;
  }
}
