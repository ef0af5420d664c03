LANGUAGES = ("en", "zh")
def render(page, course, language):
    return page
