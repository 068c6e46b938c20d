# The page and the command line. CPU by default; for a GPU:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t profactory:cuda .
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /opt/profactory
COPY . .
RUN pip install --no-cache-dir -c constraints.txt torch --index-url "$TORCH_INDEX" \
 && pip install --no-cache-dir -c constraints.txt ".[ui,homology,sweep,export,structure,features,hub,embed]" \
 && useradd --create-home scientist
USER scientist
WORKDIR /data
ENV PROFACTORY_CACHE=/data/.cache
EXPOSE 7860
ENTRYPOINT ["profactory"]
CMD ["--help"]
