"""A browser for the pages."""

from tests.support.browser import browser as browser
