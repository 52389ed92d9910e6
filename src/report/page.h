#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// A document that is written from top to bottom. Texts are plain: markup in them is escaped and shown literally.
class Page {
 public:
  virtual ~Page() = default;
  virtual void heading(int level, const std::string& text) = 0;
  virtual void paragraph(const std::string& text) = 0;
  virtual void list(const std::vector<std::string>& items) = 0;
  virtual void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) = 0;
  /// Adds a picture; `name` becomes part of its file name if it is stored in a separate file.
  virtual void figure(const std::string& title, const std::string& name, const std::string& svg) = 0;
  /// Returns the whole document; call it only once.
  virtual std::string text() = 0;
};

/// Files that accompany a document: name and content.
using PageFiles = std::vector<std::pair<std::string, std::string>>;

/// GitHub Flavored Markdown. Pictures become files `<stem>-<name>.svg` in `files`; if `stem` is empty, they are
/// omitted.
std::unique_ptr<Page> markdown_page(std::string stem, PageFiles& files);

/// A self-contained HTML page with a light and a dark theme.
std::unique_ptr<Page> html_page(const std::string& title);

}  // namespace mlxk
